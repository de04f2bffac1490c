"""VidTok and Cosmos DV against their networks written plainly."""
