# Part of tests/bench/run: many hosts at once and forwards, over ssh. The hosts are addresses of loopback, behind which is
# one throwaway sshd; the names h001 ... h200 lead there by an SSH configuration of its own, which every rival is given too.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # what run sets, what it uses

hosts_most=200
sshds=()
helpers=() # processes beside the sshds
config=''  # the SSH configuration of the sshd that was started last

stop_sshds() {
    local process
    for process in "${helpers[@]}" "${sshds[@]}"; do kill "$process" 2>/dev/null; done
    sshds=() helpers=()
}

# address_of NUMBER: a /24 has room for 250 of them.
address_of() { echo "127.0.$((($1 - 1) / 250)).$((($1 - 1) % 250 + 1))"; }

# start_sshd NAME LINE...: lines of sshd_config. Sets `config`.
start_sshd() {
    local folder=$scratch/$1 port process number key
    shift
    # It listens beyond loopback, as it has no room for so many addresses; but lets in only who comes from there.
    ADDRESS=0.0.0.0 WITH_PARENT=1 HOST_KEYS=ed25519 tests/ssh/daemon "$folder" "AllowUsers *@127.0.0.0/8" "$@" \
        >"$scratch/sshd" || return
    read -r process port <"$scratch/sshd"
    sshds+=("$process")
    config=$folder/ssh_config
    key=$(cut -d' ' -f1,2 "$folder/host_ed25519.pub")
    for ((number = 1; number <= hosts_most; number++)); do
        printf 'Host h%03d\n    HostName %s\n' $number "$(address_of $number)" >>"$config"
        echo "[$(address_of $number)]:$port $key" >>"$folder/known_hosts"
    done
    cat >>"$config" <<END
Host *
    Port $port
    User $(id -un)
    IdentityFile $folder/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile $folder/known_hosts
    GlobalKnownHostsFile /dev/null
END
}

# What to run moonbook by, from here: with that configuration, and a state of its own. Text for a shell.
over_ssh() { echo "env XDG_STATE_HOME=$scratch/state MOONBOOK_SSH_CONFIG=$config $moonbook"; }

# round_trips FILE: how often a run with --json, whose output it is, went to its hosts; "" where that was not counted.
round_trips() { sed -n 's/.*"event":"run.end".*"round_trips":\([0-9]*\).*/\1/p' "$1"; }

# chunk_on HOST CHUNK
chunk_on() {
    env XDG_STATE_HOME="$scratch/state" MOONBOOK_SSH_CONFIG="$config" "$moonbook" --on "$1" --json -e "$2"
}

# compare_trips WHAT FEW MANY COMMAND...: the command with one argument more, which makes it look at few or at many things.
compare_trips() {
    local what=$1 each count said trips=()
    for each in "$2" "$3"; do
        if ! "${@:4}" "$each" >"$scratch/trips" 2>&1; then
            unmeasured "round trips, $what" "$scratch/trips"
            return
        fi
        count=$(round_trips "$scratch/trips")
        [ -n "$count" ] || { skipped+=("round trips, $what: they are not counted"); return; }
        trips+=("$count")
    done
    verdict "${trips[1]}" "${trips[0]}" "${trips[0]}"
    row "round trips, $what" "${trips[1]}" "one" "${trips[0]}" "" "$said"
}

everywhere="-e 'host.run{\"true\", reads = true}'"

# 50 hosts run `true`. sshd drops those beyond its MaxStartups who have not logged in yet: moonbook tries those again, clush
# tells that they failed. So the limit is lifted for both, and moonbook's time with the usual one is shown as well.
bench_hosts() {
    local times ours theirs failed
    ours="$(over_ssh) --on 'h[001-050]' --forks 64 $everywhere"
    theirs="clush -S -n -f 64 -w 'h[001-050]' -o '-F $config' true"
    if ! "$bench/interleave" 11 "$ours" "$theirs" >"$scratch/hosts" 2>&1; then
        unmeasured "50 hosts" "$scratch/hosts"
        return
    fi
    mapfile -t times <"$scratch/hosts"
    compare "50 hosts run true, 64 forks" "${times[0]}" "clush -f 64" "${times[1]}" 0.5
    if ! start_sshd usual >"$scratch/hosts" 2>&1; then
        unmeasured "50 hosts with the usual MaxStartups (sshd does not start)" "$scratch/hosts"
        return
    fi
    if ! "$bench/interleave" 5 "$(over_ssh) --on 'h[001-050]' --forks 64 $everywhere" >"$scratch/hosts" 2>&1; then
        unmeasured "50 hosts with the usual MaxStartups" "$scratch/hosts"
        return
    fi
    row "" "$(seconds "$(cat "$scratch/hosts")")" "" "" "" "with sshd's usual MaxStartups"
    failed=$(clush -S -n -f 64 -w 'h[001-050]' -o "-F $config" true 2>&1 | grep -c 'exited with exit code')
    notes+=("With sshd's usual MaxStartups (10:30:100) moonbook reached all of the 50 hosts each time; clush, tried once, \
failed on $failed of them.")
}

bench_sessions() {
    local peak
    if peak=$(eval "$(over_ssh) $bench/sessions.lua 'h[001-$hosts_most]' $hosts_most" 2>"$scratch/sessions") &&
        [[ $peak =~ ^[0-9]+$ ]]; then
        memory "$hosts_most sessions open at once: peak" "$peak" 40
    else
        unmeasured "$hosts_most sessions" "$scratch/sessions"
    fi
}

# Each run's own way in counts too.
bench_trips() {
    local files="$scratch/wide/many" packages look number
    mkdir -p "$files" && touch "$files"/{1..30}
    packages=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed \(.*\)/"\1"/p' | head -n 30)
    compare_trips "30 files found" "assert(#file.glob '$files/1' == 1)" "assert(#file.glob '$files/*' == 30)" chunk_on h001
    compare_trips "30 packages" "apt.installed { ${packages%%$'\n'*} }" "apt.installed { ${packages//$'\n'/, } }" \
        chunk_on h001
    openssl req -x509 -newkey ed25519 -nodes -subj /CN=bench -days 100 -keyout "$files/key" -out "$files/pem" 2>/dev/null ||
        skipped+=("round trips, 30 certificates: openssl makes none")
    [ -s "$files/pem" ] || return
    for number in {1..30}; do cp "$files/pem" "$files/$number"; done
    look="local files = {} for i = 1, %d do files[i] = { kind = 'certificate', path = '$files/' .. i, key = '$files/key' } end
        dofile('scripts/lib/certificates.lua').check(files)"
    compare_trips "30 certificates" "${look/'%d'/1}" "${look/'%d'/30}" chunk_on h001
}

# await PROCESS COMMAND...: until the command succeeds, as long as the process that makes it so runs.
await() {
    local process=$1 left
    shift
    for ((left = 200; left > 0; left--)); do
        ! "$@" >/dev/null 2>&1 || return 0
        kill -0 "$process" || return
        sleep 0.05
    done
    echo "no $*"
    return 1
}

# A server on loopback, and OpenSSH's forward to it. Sets `port` and `forwarded`.
start_forward() {
    local tries
    "$rivals/answers" >"$scratch/port" &
    helpers+=($!)
    await $! test -s "$scratch/port" && port=$(cat "$scratch/port") || return
    for tries in 1 2 3 4 5; do
        forwarded=$((20000 + RANDOM % 12000))
        ssh -F "$config" -N -o ExitOnForwardFailure=yes -L "127.0.0.1:$forwarded:127.0.0.1:$port" h001 </dev/null &
        helpers+=($!)
        ! await $! "$rivals/easy" "http://127.0.0.1:$forwarded/v1/kv/bench/key" 1 || return 0
    done
    return 1
}

# 1,000 requests by the difference between 1,001 and one, so that neither way in nor start counts.
bench_forward() {
    local times url port forwarded ours theirs one said
    if ! start_forward >"$scratch/forward" 2>&1; then
        unmeasured "requests by a forward (it does not start)" "$scratch/forward"
        return
    fi
    url=http://127.0.0.1:$forwarded/v1/kv/bench/key
    ours="$(over_ssh) $bench/forward.lua h001 127.0.0.1:$port"
    if ! "$bench/interleave" 15 "$ours 1001" "$rivals/easy $url 1001" "$ours 1" "$rivals/easy $url 1" \
        >"$scratch/forward" 2>&1; then
        unmeasured "requests by a forward" "$scratch/forward"
        return
    fi
    mapfile -t times <"$scratch/forward"
    ours=$((times[0] - times[2])) theirs=$((times[1] - times[3]))
    compare "1,000 requests by one forward" $ours "libcurl easy, ssh -L" $theirs 1.25
    one=$(awk -v all=$ours 'BEGIN { print all / 1000 }')
    said="0.3 ms is wanted: kept"
    within "$one" 300 || said="0.3 ms is wanted: NOT KEPT here"
    row "one of them" "$(seconds "$one")" "" "$(seconds "$(awk -v all=$theirs 'BEGIN { print all / 1000 }')")" "" "$said"
}

bench_over_ssh() {
    if ! start_sshd wide "MaxStartups 1000" >"$scratch/sshd.log" 2>&1; then
        unmeasured "many hosts (sshd does not start)" "$scratch/sshd.log"
        return
    fi
    bench_sessions
    bench_forward
    bench_trips
    bench_hosts
    stop_sshds
}
