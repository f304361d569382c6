"""Raw photographs to aligned 112x112 crops: find faces and landmarks, choose one, warp it to the ArcFace template."""
