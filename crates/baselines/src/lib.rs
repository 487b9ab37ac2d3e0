//! The comparison models: OASIS + LFADS, Gaussian and Edgeworth LFADS.
