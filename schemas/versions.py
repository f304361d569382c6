"""Versions of the package and of what it writes."""

PACKAGE_VERSION = "0.1.0"

# Raised when a column's name, type or meaning changes; readers compare it before they trust a table.
QUALITY_SCHEMA_VERSION = 4

# Raised when the same file would give other pixels to the network.
PREPROCESSING_VERSION = 1

# Raised when the same input would be cut into other units (a resumed run must cut as the first one did).
PLAN_VERSION = 4

# Raised when a policy file's keys change their names or meaning.
POLICY_VERSION = 1

# Raised when a column of the decisions table changes, or the same policy would decide otherwise.
DECISIONS_VERSION = 4

# Raised when a column of the atlas changes, or the same settings would place the points elsewhere.
ATLAS_VERSION = 1
