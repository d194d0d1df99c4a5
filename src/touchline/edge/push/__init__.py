"""What is pushed to subscribers, whatever carries it: WebSocket in a gateway, server-sent events in a pod."""
