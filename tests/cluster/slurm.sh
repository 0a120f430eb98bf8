#!/usr/bin/env bash
# A SLURM of its own on this machine: one controller and two nodes, for tests.
#   slurm.sh start FOLDER     write the configuration to FOLDER and start munged, slurmctld and two slurmd
#   slurm.sh node FOLDER N    start node N (1 or 2) again
#   slurm.sh stop FOLDER      stop what was started
# Its configuration is linked from /etc/slurm, as Snakemake's plugin takes SLURM_CONF away from what its jobs start. Exit status
# 77 where SLURM cannot be installed or started, or where this machine is part of a cluster already.
set -euo pipefail
action=$1 folder=$(mkdir -p "$2" && cd "$2" && pwd) host=$(hostname -s) linked=/etc/slurm/slurm.conf
export PATH=$PATH:/usr/sbin:/sbin SLURM_CONF=$folder/slurm.conf

install() {
  command -v slurmctld slurmd munged >/dev/null && return
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 77
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge; } \
    >"$folder/install.log" 2>&1 || exit 77
}

configure() {
  mkdir -p "$folder"/{state,node1,node2}
  mungekey --create --keyfile "$folder/munge.key"
  cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17817
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=2
ReturnToService=2
MinJobAge=86400
KillWait=5
SlurmdTimeout=20
OverTimeLimit=0
NodeName=node[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17821-17822] CPUs=${CPUS:-2} RealMemory=200000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
}

node() {
  slurmd -N "node$1" -D >"$folder/node$1.out" 2>&1 &
  echo $! >>"$folder/pids"
}

case $action in
start)
  install
  configure
  # a link to a SLURM that does not answer was left by a test that was killed
  if [ -e "$linked" ] && { [ ! -L "$linked" ] || SLURM_CONF=$linked timeout 5 scontrol ping | grep -q UP; }; then exit 77; fi
  ln -sfn "$SLURM_CONF" "$linked" 2>/dev/null || exit 77
  : >"$folder/pids"
  munged --foreground --force --num-threads 2 --key-file "$folder/munge.key" --socket "$folder/munge.socket" \
    --pid-file "$folder/munged.pid" --seed-file "$folder/munge.seed" --log-file "$folder/munged.log" \
    >"$folder/munged.out" 2>&1 &
  echo $! >>"$folder/pids"
  slurmctld -D >"$folder/slurmctld.out" 2>&1 &
  echo $! >>"$folder/pids"
  node 1
  node 2
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --states=idle --format=%D 2>/dev/null)" = 2 ] && exit 0
    sleep 0.5
  done
  tail -n 5 "$folder"/*.log "$folder"/*.out >&2
  "$0" stop "$folder"
  exit 77
  ;;
node) node "$3" ;;
stop)
  scancel --quiet --state=RUNNING --state=PENDING --user="$(id -un)" || true
  while read -r pid; do kill "$pid" 2>/dev/null || true; done <"$folder/pids"
  sleep 3 # a slurmd waits for its jobs
  while read -r pid; do kill -9 "$pid" 2>/dev/null || true; done <"$folder/pids"
  if [ "$(readlink "$linked")" = "$SLURM_CONF" ]; then rm "$linked"; fi
  ;;
esac
