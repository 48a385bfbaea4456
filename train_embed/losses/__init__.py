"""The metric losses L_ml, what they select, and the identity losses of re-identification."""
