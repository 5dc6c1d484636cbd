"""Azure Storage behind the core's ports: a queue with leases, and small documents with conditional writes."""
