"""Reading tar archives, damaged ones too."""
