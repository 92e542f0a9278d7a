"""The guest side: processes that run one guest at a time. Only this and the compiler know the engine."""
