"""`.bin` verification sets (`lfw.bin`, `cfp_fp.bin` ...) as InsightFace ships them: images and pairs."""
