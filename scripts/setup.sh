# shellcheck shell=sh
# Set-up: finds or installs what Strato needs: Rust with both bare-metal targets, a C linker for the host, QEMU.
# Sourced by scripts/run and scripts/test at the root of the repository. It asks the programs what they can do, edits no
# shell profile, and touches no network when nothing is missing. What is installed is written to stderr first.
#
#   STRATO_SETUP=        install what is missing; on a terminal, ask once before it
#   STRATO_SETUP=auto    the same, never ask
#   STRATO_SETUP=check   list everything that is missing with the command that installs it; exit 69 if there is any
#   STRATO_SETUP=off     look at nothing
#   STRATO_QEMU=path     use this qemu-system-aarch64 and leave the installed one alone
#   STRATO_NEED=host     no QEMU and no target is needed (scripts/test --quick)
#
# scripts/test sets setup_wants_spin=yes and setup_wants_fat=yes: spin, the model checker, and what checks the cards that are written
# are installed too where that is known how.

setup_users_path=$PATH

. scripts/setup/probe.sh
. scripts/setup/plan.sh

setup_say() { printf 'setup: %s\n' "$*" >&2; }

setup_stop() { # the one way out when something is missing: sysexits EX_UNAVAILABLE
    setup_say "$@"
    exit 69
}

setup_show() { # the plan in words, one command a line
    printf '%s' "$setup_plan" | while IFS=$setup_tab read -r setup_why setup_command; do
        printf '  %s:\n    %s\n' "$setup_why" "$setup_command" >&2
    done
}

setup_agreed() { # asks only a person at a terminal who has not chosen a mode
    [ -z "${STRATO_SETUP:-}" ] && [ -t 0 ] && [ -t 2 ] || return 0
    printf 'setup: run these commands? [Y/n] ' >&2
    read -r setup_reply || setup_reply=no
    case $setup_reply in '' | [Yy]*) return 0 ;; *) return 1 ;; esac
}

setup_run() { # a step that fails is tried once more; the next look, not its status, decides what is missing
    printf '%s' "$setup_plan" | while IFS=$setup_tab read -r setup_why setup_command; do
        setup_path # the step before may have brought rustup
        setup_say "$setup_why: $setup_command"
        for setup_try in 'trying once more' 'going on without'; do # the chatter of packages goes to the log, errors do not
            sh -c "$setup_command" >>"$setup_cache/log" </dev/null && break
            setup_say "failed, $setup_try; its output is at the end of $setup_cache/log"
            sleep 3
        done
    done
    # A source that this mirror does not have would make every later apt-get update of the machine fail.
    if [ -e "$setup_source" ] && ! apt-cache policy | grep -q bookworm-backports; then
        setup_say "no backports to be had: taking $setup_source away again"
        sh -c "${setup_sudo}rm -f $setup_source" >&2
    fi
}

setup_tell_path() { # what was installed is in no shell profile, and a command that is not found says nothing of it
    (PATH=$setup_users_path && command -v cargo >/dev/null 2>&1) && return
    setup_path
    setup_say "to type \`cargo\` in this terminal: export PATH=$(dirname "$(command -v cargo)"):\$PATH"
}

setup_locked() { # runs "$@" while no other set-up of this user does; a lock whose owner is gone does not count
    mkdir -p "$setup_cache" 2>/dev/null
    [ -w "$setup_cache" ] || setup_cache=${TMPDIR:-/tmp}/strato-$(id -u)
    mkdir -p "$setup_cache" || setup_stop "a folder for the lock is needed: set XDG_CACHE_HOME to one that can be written"
    setup_waited=0
    until mkdir "$setup_cache/lock" 2>/dev/null; do
        setup_owner=$(cat "$setup_cache/lock/pid" 2>/dev/null)
        if [ "$setup_waited" -ge 3 ] && ! kill -0 "${setup_owner:-none}" 2>/dev/null; then
            rm -rf "$setup_cache/lock"
            continue
        fi
        [ "$setup_waited" = 0 ] && setup_say "waiting for another set-up (process ${setup_owner:-unknown})"
        [ "$setup_waited" -lt 1800 ] || setup_stop "still not done; if no set-up runs, remove $setup_cache/lock"
        sleep 1
        setup_waited=$((setup_waited + 1))
    done
    (
        trap 'rm -rf "$setup_cache/lock"' EXIT
        trap 'exit 130' HUP INT TERM
        echo $$ >"$setup_cache/lock/pid"
        date >"$setup_cache/log"
        "$@"
    ) || exit
}

setup_close_gaps() { # pass 2 takes the second choice of package or source, where there is one
    setup_done=''
    for setup_pass in 1 2; do
        setup_look # again: another set-up may have done it all while this one waited
        [ "$setup_plan" = "$setup_done" ] || setup_run
        setup_done=$setup_plan
    done
}

setup_main() {
    setup_look
    if [ -n "$setup_plan" ]; then
        setup_say 'this machine lacks something that Strato needs. What, and the command that installs it:'
        setup_show
        [ "${STRATO_SETUP:-}" = check ] && exit 69
        case $setup_plan in *"${setup_tab}sudo "* | *'| sudo '*)
            command -v sudo >/dev/null 2>&1 || setup_stop 'there is no sudo here: run the lines with sudo as root, then start again' ;;
        esac
        setup_agreed || setup_stop 'nothing was installed. Run the commands yourself, or set STRATO_QEMU to a QEMU of your own'
        setup_locked setup_close_gaps
        setup_pass=2
        setup_look
        if [ -n "$setup_plan" ]; then
            setup_say 'still missing (the messages above say why):'
            setup_show
            command -v "$setup_qemu" >/dev/null 2>&1 && ! setup_has_qemu &&
                setup_say "this system's QEMU is too old, 7.2 or newer is needed. Install one by Homebrew (brew install qemu) or" \
                    'Nix (nix profile install nixpkgs#qemu), and set STRATO_QEMU to its path'
            setup_stop 'run these commands by hand, then start again; STRATO_SETUP=check lists what is left'
        fi
        setup_say 'done: nothing is missing now'
        setup_tell_path
    fi
    if [ "${STRATO_SETUP:-}" = check ]; then
        setup_say 'nothing that Strato needs is missing'
        exit 0
    fi
}

case ${STRATO_SETUP:-} in
    '' | auto | check) setup_main ;;
    off) setup_path ;;
    *)
        setup_say "STRATO_SETUP=$STRATO_SETUP is none of auto, check, off"
        exit 64
        ;;
esac
