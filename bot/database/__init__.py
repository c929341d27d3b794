"""The application's own database: SQLite or PostgreSQL."""
