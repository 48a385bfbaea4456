"""A benchmark's rules as a person would carry them out: one query after the other, one entry after the other."""

from __future__ import annotations

import math


def ranked_list(similarity, query, gallery, *, distractor=None):
    """[(index, right)] of the entries that stand in one query's list, best first; wrong before right in a tie.

    `query` and the entries of `gallery` are (identity, camera or None, item or None).
    """
    identity, camera, item = query
    kept = []
    for index, (other, other_camera, other_item) in enumerate(gallery):
        if other == -1:
            continue  # junk
        if item is not None and other_item == item:
            continue  # the query itself
        if camera is not None and other == identity and other_camera == camera:
            continue  # the same person in the same camera
        kept.append((index, other == identity and other != distractor))
    return sorted(kept, key=lambda one: (-similarity[one[0]], one[1]))


def scores_of(ranked, ks=(1, 5, 10)):
    """{"hits": {k: 0 or 1}, "ap", "ap_trapezoid", "inp", "first"} of one list, or None without a right entry."""
    right = [is_right for _, is_right in ranked]
    number = sum(right)
    if not number:
        return None
    found, precisions, trapezoid = 0, [], 0.0
    old_recall, old_precision = 0.0, 1.0
    for rank, is_right in enumerate(right):
        found += is_right
        recall, precision = found / number, found / (rank + 1)
        if is_right:
            precisions.append(precision)
        trapezoid += (recall - old_recall) * (old_precision + precision) / 2  # as Market-1501's compute_AP.m does
        old_recall, old_precision = recall, precision
        if found == number:
            break
    hardest = max(rank for rank, is_right in enumerate(right) if is_right)
    return {
        "hits": {k: int(any(right[:k])) for k in ks},
        "ap": math.fsum(precisions) / number,
        "ap_trapezoid": trapezoid,
        "inp": number / (hardest + 1),
        "first": right.index(True),
    }
