"""What raters say about how well a programme was implemented, and how far they agree on it."""

from implstats.ratings.agreement import Agreement
from implstats.ratings.alpha import gwet_ac1, krippendorff_alpha
from implstats.ratings.bounds import WithinGroupBounds, within_group_bounds
from implstats.ratings.icc import ICC, icc
from implstats.ratings.kappa import kappa
from implstats.ratings.profile import RatingProfile, rating_profile
from implstats.ratings.within_group import WithinGroupAgreement, within_group_agreement

__all__ = [
    "ICC",
    "Agreement",
    "RatingProfile",
    "WithinGroupAgreement",
    "WithinGroupBounds",
    "gwet_ac1",
    "icc",
    "kappa",
    "krippendorff_alpha",
    "rating_profile",
    "within_group_agreement",
    "within_group_bounds",
]
