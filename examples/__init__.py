"""Programs to read and to run; ``tinyfcn train`` and ``tinyfcn predict`` are two of them."""
