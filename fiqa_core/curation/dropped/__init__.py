"""The images that a policy drops, written as folders by reason, for people to look at."""
