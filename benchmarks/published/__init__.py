"""VidTok and Cosmos against their networks written plainly."""
