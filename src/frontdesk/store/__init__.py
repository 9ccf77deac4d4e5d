"""PostgreSQL, embedded or served: schema, migrations, named queries, one way in per tenant."""
