// Carries the shared precompiled header; see KeelsonTargets.cmake.
