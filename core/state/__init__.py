"""Facts and views: what state records say, how they change memory, and what a checkpoint keeps of it."""
