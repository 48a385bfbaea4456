"""What a user says of an image: supports, hints, scribbles."""
