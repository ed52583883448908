"""Records: what was asked, decided, tried and paid, in SQLite or PostgreSQL; and tasks that outlive a restart.

The modules that import SQLAlchemy are imported only where `records:` is configured: it takes a quarter of a second.
"""
