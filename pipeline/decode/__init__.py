"""From one local media file to clips of sampled, resized frames; nothing here knows a store or a cluster."""
