"""What a policy says, computed slowly and plainly with pandas: one rule after the other on a frame of kept rows."""

import math

import numpy as np
import pandas as pd

from fiqa_core.curation.decisions.policy import Policy


def better(rows: pd.DataFrame) -> pd.DataFrame:
    """Best first."""
    return rows.sort_values(["quality", "rid"], ascending=[False, True])


def believed_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Best first, rows with a wrong label after all others."""
    wrong = (rows.verdict == "wrong_label").astype(int)
    return rows.assign(wrong=wrong).sort_values(["wrong", "quality", "rid"], ascending=[True, False, True])


def decide(own: pd.DataFrame, against: pd.DataFrame, pairs: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """`reason` ("" = kept), `other` (rid or None) and `found` of each own row.

    `own`: rid, label, quality (NaN = not scored), sha, verdict, and of judged rows centre, genuine, nearest (cosines).
    `against`: rid, sha. `pairs`: a, b, similarity, kind.
    """
    out = own.set_index("rid", drop=False).rename_axis(None).assign(reason="", other=None, found=False)

    def kept() -> pd.DataFrame:
        return out[out.reason == ""]

    def drop(rids, reason: str, other=None) -> None:
        for rid in rids:
            assert out.loc[rid, "reason"] == ""
            out.loc[rid, "reason"] = reason
            out.loc[rid, "other"] = None if other is None else other[rid]

    drop(out[out.quality.isna()].rid, "not_scored")
    if policy.labels.drop_missing:
        drop(kept()[kept().label.isna()].rid, "no_label")
    if policy.labels.drop_wrong:
        drop(kept()[kept().verdict == "wrong_label"].rid, "wrong_label")
    if policy.overlap.exact:
        first = against.dropna(subset=["sha"]).groupby("sha").rid.min()
        rows = kept()[kept().sha.isin(first.index)]
        drop(rows.rid, "overlap_exact", {row.rid: first[row.sha] for row in rows.itertuples()})
    limits = policy.near.limits()
    partners = {}
    for pair in pairs.itertuples() if policy.overlap.near else ():
        limit = limits.get(pair.kind)
        if limit is not None and pair.b >= len(own) and pair.similarity >= limit:
            for rid in set(same_bytes(out, pair.a)) & set(kept().rid):
                partners[rid] = min(partners.get(rid, (2, 0)), (-pair.similarity, pair.b))
    drop(partners, "overlap_near", {rid: b for rid, (_, b) in partners.items()})
    exact_duplicates(kept, drop, policy)
    near_duplicates(out, kept, drop, pairs, policy)
    quality_rules(out, kept, drop, policy)
    size_rules(kept, drop, policy)
    return out


def exact_duplicates(kept, drop, policy: Policy) -> None:
    scope, drop_all = policy.duplicates.exact, policy.duplicates.across == "drop_all"
    if scope == "off":
        return
    goes = {}
    for _, group in kept().dropna(subset=["sha"]).groupby("sha"):
        labelled = group[group.label.notna()]
        if scope == "within":
            for _, same in labelled.groupby("label"):
                rids = believed_first(same).rid.tolist()
                goes |= dict.fromkeys(rids[1:], rids[0])
        elif drop_all and labelled.label.nunique() > 1:
            goes |= dict.fromkeys((group if scope == "all" else labelled).rid, None)
        elif scope == "across" and len(labelled):
            best = believed_first(labelled).iloc[0]
            goes |= dict.fromkeys(labelled[labelled.label != best.label].rid, best.rid)
        elif scope == "all":
            rids = believed_first(group).rid.tolist()
            goes |= dict.fromkeys(rids[1:], rids[0])
    drop(goes, "duplicate_exact", goes)


def same_bytes(out: pd.DataFrame, rid: int) -> list[int]:
    """The rows that hold what a row holds, itself among them."""
    sha = out.loc[rid, "sha"]
    return [rid] if pd.isna(sha) else out[out.sha == sha].rid.tolist()


def near_duplicates(out, kept, drop, pairs: pd.DataFrame, policy: Policy) -> None:
    scope = policy.duplicates.near
    if scope == "off":
        return
    rows = kept()
    near = nearness(out, rows, pairs, policy)
    order = original_first(rows[rows.rid.isin(near)], near, policy.duplicates.score_noise * spread(out))
    stays: list[int] = []
    for rid in order:
        if not set(near[rid]) & set(stays):
            stays.append(rid)
    goes = {}
    for rid in set(order) - set(stays):
        goes[rid] = min((r for r in near[rid] if r in stays), key=lambda r: (-near[rid][r], order.index(r)))
    drop(goes, "duplicate_near", goes)


def nearness(out, rows, pairs: pd.DataFrame, policy: Policy) -> dict[int, dict[int, float]]:
    """Of each row the rows that are near it, and how near."""
    scope, limits = policy.duplicates.near, policy.near.limits()
    counted = [pair for pair in pairs.itertuples() if pair.b < len(out) and pair.similarity >= limits.get(pair.kind, 2)]
    crowd_of = {}
    for pair in counted:
        if getattr(pair, "crowd", -1) >= 0:
            members = crowd_of.setdefault((pair.crowd, pair.kind == "phash"), {pair.crowd: 1.0})
            member = pair.a if pair.b == pair.crowd else pair.b
            members[member] = max(pair.similarity, members.get(member, -2))
    alike = [(pair.a, pair.b, pair.similarity) for pair in counted if getattr(pair, "crowd", -1) < 0]
    for (a, b, similarity), pair in zip(list(alike), [p for p in counted if getattr(p, "crowd", -1) < 0], strict=True):
        if pair.kind == "phash":
            sides = [crowd_of.get((row, True), {row: 1}) for row in (a, b)]
            alike += [(x, y, similarity) for x in sides[0] for y in sides[1]]
    for members in crowd_of.values():
        alike += [(x, y, min(members[x], members[y])) for x in members for y in members if x < y]
    alike = [(x, y, s) for a, b, s in alike for x in same_bytes(out, a) for y in same_bytes(out, b)]
    alike += [(x, y, 1.0) for x in rows.rid for y in same_bytes(out, x)]
    near: dict[int, dict[int, float]] = {}
    for a, b, similarity in alike:
        if a == b or a not in rows.index or b not in rows.index:
            continue
        one, two = rows.loc[a, "label"], rows.loc[b, "label"]
        known = not (pd.isna(one) or pd.isna(two))
        if scope == "all" or (known and (one == two) == (scope == "within")):
            for x, y in ((a, b), (b, a)):
                near.setdefault(x, {})[y] = max(similarity, near.get(x, {}).get(y, -2))
    return near


def spread(out: pd.DataFrame) -> float:
    """Half of what lies between the 0.16 and the 0.84 quantile of all scores."""
    scores = sorted(out.quality.dropna())
    if not scores:
        return 0.0
    low, high = (scores[max(0, math.ceil(share * len(scores)) - 1)] for share in (0.16, 0.84))
    return (high - low) / 2


def original_first(rows: pd.DataFrame, near, noise: float) -> list[int]:
    """Groups that pairs connect, one after the other; in each, scores within `noise` of the best left are one."""
    order, seen = [], set()
    for rid in rows.rid:
        if rid in seen:
            continue
        group, open_rows = set(), {rid}
        while open_rows:
            group |= open_rows
            open_rows = {y for x in open_rows for y in near[x]} - group
        seen |= group
        left = rows[rows.rid.isin(group)].assign(wrong=rows.verdict == "wrong_label")
        while len(left):
            part = left[left.wrong == left.wrong.min()]
            alike = part[part.quality.max() - part.quality <= noise].sort_values(
                ["pixels", "quantisation"], ascending=[False, True]
            )
            for _, same in alike.groupby(["pixels", "quantisation"], sort=False):
                while len(same):
                    sizes = np.log(same.bytes.astype(float).clip(lower=1))
                    as_large = same[sizes.max() - sizes <= -math.log1p(-0.1)]
                    order += sorted(as_large.rid)
                    same = same.drop(as_large.index)
            left = left.drop(alike.index)
    return order


def protected_rows(kept, policy: Policy) -> set[int]:
    least = policy.quality.keep_at_least or 0
    labelled = kept()[kept().label.notna()]
    return {rid for _, rows in labelled.groupby("label") for rid in better(rows).rid.head(least)}


def recognised_rows(out: pd.DataFrame, policy: Policy) -> set[int]:
    limits = policy.quality.protect_recognised
    if limits is None:
        return set()
    judged = out[out.verdict.notna() & out.label.notna()]
    margin = judged.centre.astype(float) - judged.nearest.astype(float)
    near = (judged.genuine >= np.float32(limits.cosine)) & (margin >= limits.margin)
    return set(judged[near].rid)


def quality_rules(out: pd.DataFrame, kept, drop, policy: Policy) -> None:
    rule = policy.quality

    def find(rids, reason: str) -> None:
        protected = protected_rows(kept, policy) | recognised_rows(out, policy)
        rids = [rid for rid in rids if rid not in protected]
        if rule.action == "drop":
            drop(rids, reason)
        else:
            out.loc[rids, "found"] = True

    if rule.min is not None:
        find(kept()[kept().quality < rule.min].rid, "below_threshold")
    rows = better(kept())
    find(rows.rid.tail(math.floor(rule.drop_fraction * len(rows) + 1e-9)), "below_global_quantile")
    worst = []
    for _, same in kept()[kept().label.notna()].groupby("label"):
        worst += better(same).rid.tail(math.floor(rule.drop_identity_fraction * len(same) + 1e-9)).tolist()
    find(worst, "below_identity_quantile")


def size_rules(kept, drop, policy: Policy) -> None:
    rule = policy.size
    if rule.best_per_identity:
        for _, same in kept()[kept().label.notna()].groupby("label"):
            drop(better(same).rid.iloc[rule.best_per_identity :], "over_identity_best")
    if rule.max_identities:
        labelled = kept()[kept().label.notna()]
        sizes = sorted((-len(r), -r.quality.mean(), label.encode()) for label, r in labelled.groupby("label"))
        stay = [label.decode() for _, _, label in sizes[: rule.max_identities]]
        drop(labelled[~labelled.label.isin(stay)].rid, "over_identity_cap")
    if rule.target:
        protected = protected_rows(kept, policy)
        spare = better(kept()[~kept().rid.isin(protected)])
        drop(spare.rid.iloc[max(0, rule.target - (len(kept()) - len(spare))) :], "over_target_size")
    if rule.min_per_identity:
        for _, same in kept()[kept().label.notna()].groupby("label"):
            if len(same) < rule.min_per_identity:
                drop(same.rid, "identity_too_small")
