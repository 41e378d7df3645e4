"""mqadmin's commands: names, options and columns are those of RocketMQ 5's own (apache/rocketmq, tools/.../command)."""
