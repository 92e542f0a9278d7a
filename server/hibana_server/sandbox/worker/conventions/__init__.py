"""How strings, bytes and structured values reach a guest and come back: one module for each convention."""
