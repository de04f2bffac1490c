"""Pictures and clips drawn from models over tokens, and what they are worth."""
