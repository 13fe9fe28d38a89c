#!/bin/sh
# Install the system packages that are missing, and those that the arguments name, where apt-get
# is there and allowed; say so if not.
packages=""
command -v ld >/dev/null || packages="$packages binutils"
command -v aarch64-linux-gnu-ld >/dev/null || packages="$packages binutils-aarch64-linux-gnu"
command -v aarch64-linux-gnu-g++ >/dev/null || packages="$packages g++-aarch64-linux-gnu"
command -v espeak-ng >/dev/null || packages="$packages espeak-ng"
for package in "$@"; do
    command -v "$package" >/dev/null || dpkg -s "$package" >/dev/null 2>&1 ||
        packages="$packages $package"
done
[ -z "$packages" ] && exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "not installed:$packages (needs apt-get and root); what uses them is skipped" >&2
    exit 0
fi
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages; } >/dev/null ||
    echo "could not install:$packages; what uses them is skipped" >&2
exit 0
