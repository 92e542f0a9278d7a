"""Hold the messages and stubs generated from proto/hibana/v1 (`make generate`)."""
