#!/bin/sh
# A quick sub-updater for the soak test: two small files represent the root file systems A and B.
#
#     hands.sh ARTIFACT    install, then request a reboot
#     hands.sh --boot      at every boot: commit or roll back, report, remove the lock; exit code 75: run it again
#
# Each file is written under a temporary name and renamed, so the script may be killed at any instant. The steps of each
# deployment are appended to the file "history", which the soak test compares with what the server received.
set -u
root=@ROOT@
client=@CLIENT@
data=$root/var/lib/mender
slots=$root/slots
state=$root/hands.state
PATH=/usr/sbin:/usr/bin:/sbin:/bin

put() { printf '%s\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; }
save() { put "$state" "$1 $deployment $name $target"; }
note() { echo "$deployment $*" >>"$root/history"; }
running() { cat "$slots/running"; }
other() { case $1 in A) echo B ;; *) echo A ;; esac }
reboot() { : >"$root/reboot"; exit 0; }
start() { : >"$root/start"; exit 0; }

conclude() {
    [ "$1" = success ] || put "$slots/boot" "keep $(running)"
    save "$1"
    note "$1"
    [ "$1" = failure ] || put "$root/etc/mender/artifact_info" "artifact_name=$name"
    code=0
    "$client" --root "$root" report "--$1" --timeout 3 || code=$?
    note "report $code"
    case $code in
    0) rm -f "$data/update.lock" && rm -f "$state" && start ;;
    2) rm -f "$state" && start ;;
    75) start ;; # stored: the client will report it and remove the lock
    esac
    exit 75
}

install() {
    deployment=$MENDER_DEPLOYMENT_ID name=$MENDER_ARTIFACT_NAME target=$(other "$(running)")
    note install
    save writing
    if ! "$client" artifact cat "$1" >"$slots/$target.new" || [ "$(cat "$root/plan")" = fail-install ]; then
        conclude failure
    fi
    mv -f "$slots/$target.new" "$slots/$target"
    save rebooting
    put "$slots/boot" "try $target"
    reboot
}

check_health() {
    if [ "$(cat "$root/plan")" = fail-health ]; then
        put "$slots/boot" "keep $(other "$target")"
        reboot
    fi
    put "$slots/boot" "keep $target"
    note committed
    conclude success
}

boot() {
    if [ ! -e "$state" ]; then
        [ -e "$data/update.lock" ] || exit 0
        deployment=$(cat "$data/update.lock") name=none target=none
        note orphan
        conclude failure
    fi
    read -r step deployment name target <"$state"
    lock=$(cat "$data/update.lock" 2>/dev/null) || lock=
    if [ "$lock" != "$deployment" ]; then
        case $step in success | failure) rm -f "$state"; start ;; esac
    fi
    case $step in
    success | failure) conclude "$step" ;;
    rebooting) [ "$(running)" != "$target" ] || check_health ;;
    esac
    conclude failure
}

case $1 in
--boot) boot ;;
*) install "$1" ;;
esac
