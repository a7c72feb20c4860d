"""Where images come from, how they are shifted or attacked, and what is then measured on."""
