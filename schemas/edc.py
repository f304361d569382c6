"""Tables of an evaluation: the curves (edc.parquet), their areas (auc.csv), recommended thresholds."""

import pyarrow as pa

COLUMNS: dict[str, str] = {
    "protocol": "`crfiqa` or `fixed`: their numbers are not comparable.",
    "dataset": "Name of the pair list.",
    "fr_model": "Name of the face recognition model.",
    "method": "Name of the quality measure; `random` (mean over seeds) and `oracle` are the two bounds.",
    "fmr": "Target false match rate.",
    "discard": "Discarded fraction: of all pairs for `crfiqa`, of the mated pairs for `fixed`.",
    "threshold": "Dissimilarity at the operating point; accepted below it (`crfiqa`), up to it (`fixed`).",
    "achieved_fmr": "Share of the non-mated pairs whose dissimilarity is at most the threshold.",
    "n_mated": "Mated pairs that remain.",
    "n_nonmated": "Non-mated pairs that the threshold was set on.",
    "fnmr": "Share of the remaining mated pairs that are not accepted; lower = better. Null where not measurable.",
    "fnmr_low": "Lower end of its 95 % band (bootstrap over subjects; for `random` over seeds); null without one.",
    "fnmr_high": "Upper end of that band.",
    "quality": "Pairs of at least this quality remain (`fixed` only).",
}

_TEXTS = ("protocol", "dataset", "fr_model", "method")
_COUNTS = ("n_mated", "n_nonmated")


def _type(name: str) -> pa.DataType:
    if name in _TEXTS:
        return pa.dictionary(pa.int32(), pa.string())
    return pa.int64() if name in _COUNTS else pa.float64()


SCHEMA = pa.schema([pa.field(name, _type(name), metadata={"description": text}) for name, text in COLUMNS.items()])

AUC_COLUMNS: dict[str, str] = {
    "protocol": COLUMNS["protocol"],
    "dataset": COLUMNS["dataset"],
    "fr_model": COLUMNS["fr_model"],
    "method": COLUMNS["method"],
    "fmr": COLUMNS["fmr"],
    "fnmr": "FNMR with nothing discarded.",
    "auc": "Area under the curve from 0 to 95 % discarded; lower = better. Empty where not measurable so far.",
    "auc_low": "Lower end of its 95 % band; empty without one.",
    "auc_high": "Upper end of that band.",
    "auc_30": "The same to 30 %.",
    "auc_30_low": "",
    "auc_30_high": "",
    "auc_20": "The same to 20 %.",
    "auc_20_low": "",
    "auc_20_high": "",
}

DIFFERENCE_COLUMNS: dict[str, str] = {
    "protocol": COLUMNS["protocol"],
    "dataset": COLUMNS["dataset"],
    "fr_model": COLUMNS["fr_model"],
    "method": COLUMNS["method"],
    "against": "The measure that it is compared with.",
    "fmr": COLUMNS["fmr"],
    "auc": "Area of `method` minus area of `against`, 0 to 95 % discarded; negative = `method` is better.",
    "auc_low": "Lower end of its 95 % band: paired differences over the same resampled subjects; empty without one.",
    "auc_high": "Upper end of that band.",
    "auc_30": "The same to 30 %.",
    "auc_30_low": "",
    "auc_30_high": "",
    "auc_20": "The same to 20 %.",
    "auc_20_low": "",
    "auc_20_high": "",
    "verdict": "Of `auc_30`: `better` or `worse` where the band excludes 0, else `undecided`; empty without a band.",
}

POOR_IMAGE_COLUMNS: dict[str, str] = {
    "dataset": COLUMNS["dataset"],
    "image": "Name in the pair list (of a template set: the template).",
    "fmr": "Target false match rate; the threshold is fixed, set on all non-mated pairs.",
    "advice": "`drop`: poor for every recogniser and every measure; `keep`: poor for one of them only; else `look`.",
    "judges": "Number of recognisers for which it is poor: more than half of its mated pairs fail.",
    "judges_names": "Their names, with a space between.",
    "measures": "Number of measures for which it is poor: among their worst, as many as judges find poor on average.",
    "measures_names": "Their names, with a space between.",
    "mated_pairs": "Its mated pairs.",
    "failing": "Share of them that fails, mean over the recognisers.",
}

GROUP_COLUMNS: dict[str, str] = {
    "dataset": COLUMNS["dataset"],
    "fr_model": COLUMNS["fr_model"],
    "method": COLUMNS["method"],
    "fmr": "Target false match rate; one threshold for all groups, set on all non-mated pairs.",
    "group": "Group of both images of a pair; `(no group)`: not known; `(two groups)`: the images differ.",
    "discard": "Share of the mated pairs of all groups that is discarded at most, worst quality first.",
    "n_mated": "Mated pairs of the group.",
    "discarded": "Share of them that goes.",
    "failed": "Of those that remain, pairs that are not accepted.",
    "fnmr": "Their share; empty where no pair remains.",
    "fnmr_low": "Lower end of its 95 % band over resampled subjects (--bootstrap); empty without one.",
    "fnmr_high": "Upper end of that band.",
}

RECOMMENDATION_COLUMNS: dict[str, str] = {
    "dataset": COLUMNS["dataset"],
    "fr_model": COLUMNS["fr_model"],
    "method": COLUMNS["method"],
    "fmr": COLUMNS["fmr"],
    "kind": "`stops_paying`: below it pairs fail more often than the average pair; `target`: the FNMR falls to it.",
    "target_fnmr": "The FNMR asked for (`target` only).",
    "min_quality": "For fiqa filter's --min-quality; empty where no threshold does it.",
    "min_quality_low": "Lower end of its 95 % band; empty without one.",
    "min_quality_high": "Upper end of that band.",
    "discard": "Share of the mated pairs that go.",
    "fnmr_before": "FNMR with nothing discarded.",
    "fnmr": "FNMR of the pairs that remain.",
    "images": "Scored images of the set that is to be filtered.",
    "images_dropped": "Those below the threshold.",
    "identities": "Identities in it (0: it has no labels).",
    "identities_dropped": "Those that lose every scored image.",
    "note": "Why there is no threshold; or what to know of it.",
}
