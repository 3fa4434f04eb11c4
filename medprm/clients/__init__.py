"""The only room that talks to the outside: guard, journal, limits, the OpenAI-compatible client."""
