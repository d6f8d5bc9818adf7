"""Lessons: one short script for each idea; ``tinyfcn lessons`` lists them in reading order."""
