"""What a function's types look like in core types, by calling convention: gate and worker read signatures alike."""
