#!/usr/bin/env bash
# A real SLURM of one node with four CPUs and two fake GPUs, for tests; Debian's slurm-wlm and munge, as root.
#   cluster.sh start FOLDER    state and logs go there
#   cluster.sh stop FOLDER
# slurmd and Snakemake's job steps look for the configuration in its fixed place only, so it is written there. A
# machine that has one already, which is not from here, is left alone.
set -euo pipefail
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
etc=/etc/slurm
mark="# Written by tests/slurm/cluster.sh"

die() {
    echo "cluster.sh: $*" >&2
    exit 1
}

stop() {
    for daemon in slurmd slurmctld munged; do
        if [[ -f $folder/$daemon.pid ]]; then
            pid=$(<"$folder/$daemon.pid")
            # A number that was given to another program meanwhile is not ours to end.
            if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$daemon" ]]; then kill "$pid"; fi
        fi
    done
    for file in slurm.conf gres.conf; do
        if [[ -f $etc/$file ]] && grep -qF "$mark" "$etc/$file"; then rm "$etc/$file"; fi
    done
}

if [[ $action == stop ]]; then
    stop
    exit
fi

[[ $(id -u) == 0 ]] || die "must be root, as SLURM's daemons here run as root"
for program in munged slurmctld slurmd; do
    [[ -n $(command -v $program) ]] || die "$program is missing: apt-get install slurm-wlm munge"
done
for file in slurm.conf gres.conf; do
    if [[ -f $etc/$file ]] && ! grep -qF "$mark" "$etc/$file"; then
        die "$etc/$file belongs to a cluster; this one would replace it"
    fi
done

host=$(hostname -s)
mkdir -p "$folder/state" "$folder/spool" "$etc"
head -c 128 /dev/urandom >"$folder/munge.key"
chmod 0600 "$folder/munge.key"
chmod 0755 "$folder"
cat >$etc/slurm.conf <<END
$mark
ClusterName=astarpo-test
SlurmctldHost=$host
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=300
KillWait=30
OverTimeLimit=0
# More CPUs than the machine may have: they are counted, not bound.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=6000 Gres=gpu:2 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=1-00:00:00 State=UP
PartitionName=gpu Nodes=$host MaxTime=1-00:00:00 State=UP
END
cat >$etc/gres.conf <<END
$mark
NodeName=$host Name=gpu File=/dev/zero
NodeName=$host Name=gpu File=/dev/full
END
trap stop ERR
# setsid: whoever started this script must not wait for daemons that inherited its streams.
setsid munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" \
    </dev/null >>"$folder/start.log" 2>&1
setsid slurmctld -c </dev/null >>"$folder/start.log" 2>&1
setsid slurmd -c </dev/null >>"$folder/start.log" 2>&1
for _ in $(seq 60); do
    if [[ $(sinfo --noheader --format=%t 2>/dev/null | sort -u) == idle ]]; then exit 0; fi
    sleep 1
done
sinfo >&2 || true
tail -n 20 "$folder"/*.log >&2
stop
die "the node did not become idle within a minute"
