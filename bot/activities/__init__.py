"""One activity, from acceptance to a known outcome. Knows no Bolt and no httpx."""
