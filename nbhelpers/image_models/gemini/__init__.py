"""gemini: TODO."""
