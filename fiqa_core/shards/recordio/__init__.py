"""MXNet RecordIO, as InsightFace ships its training sets."""
