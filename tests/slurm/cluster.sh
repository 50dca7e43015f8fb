#!/usr/bin/env bash
# A real SLURM of one node on loopback, for the tests: cluster.sh check|start|stop FOLDER [accounting]
#
# check says why it cannot be started here (exit code 1) or nothing. start writes /etc/slurm, starts
# munged, slurmctld and slurmd and waits until the node is idle; with accounting, MariaDB and slurmdbd
# before them. stop kills what start started and takes away what it wrote. A slurm.conf without the line below is somebody's: it is never touched.
# (The file must stand in /etc/slurm: jobs lose SLURM_CONF.)
set -euo pipefail

MARK="# written by slimgen's tests/slurm/cluster.sh"
ETC=${SLIMGEN_TEST_ETC:-/etc/slurm}
FILES=(slurm.conf gres.conf cgroup.conf slurmdbd.conf)
PORT=33871 # of the accounting's database, on loopback
command=${1:?check, start or stop}
folder=${2:?a folder for state and logs}
accounting=${3:-}

refuse() {
  echo "$1"
  exit 1
}

check() {
  local name
  for name in "${FILES[@]}"; do
    if [ -e "$ETC/$name" ] && [ "$(head -n 1 "$ETC/$name")" != "$MARK" ]; then
      refuse "$ETC/$name is not ours"
    fi
  done
  for name in munged slurmctld slurmd scontrol squeue sinfo; do
    command -v "$name" >/dev/null || refuse "no $name here (Debian: slurm-wlm and munge)"
  done
  if [ -n "$accounting" ]; then
    for name in slurmdbd sacct sacctmgr mariadbd mariadb mariadb-install-db; do
      command -v "$name" >/dev/null || refuse "no $name here (Debian: slurmdbd and mariadb-server)"
    done
  fi
  [ "$(id -u)" = 0 ] || refuse "only root can start SLURM's daemons"
  id munge >/dev/null 2>&1 || refuse "there is no user munge"
  [ -s /etc/munge/munge.key ] || refuse "there is no /etc/munge/munge.key"
  if [ ! -e "$ETC/slurm.conf" ] && timeout 10 scontrol ping >/dev/null 2>&1; then
    refuse "this machine already belongs to a cluster"
  fi
  getent hosts "$(hostname -s)" >/dev/null || refuse "the name $(hostname -s) does not resolve"
}

configure() {
  local host storage=none
  [ -z "$accounting" ] || storage=slurmdbd
  host=$(hostname -s)
  mkdir -p "$ETC" "$folder"/{state,spool,gpu}
  touch "$folder"/gpu/{0..15} # GPUs in name only
  # CPUs and memory need not be there (config_overrides): the tests' jobs are small and many.
  cat >"$ETC/slurm.conf" <<END
$MARK
ClusterName=slimgen-test
SlurmctldHost=$host(127.0.0.1)
AuthType=auth/munge
AuthInfo=cred_expire=5
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
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/$storage
AccountingStorageHost=localhost
JobCompType=jobcomp/none
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=2,bf_interval=2,preempt_youngest_first
MinJobAge=3600
KillWait=30
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=16 RealMemory=500000 Gres=gpu:16 State=UNKNOWN
PartitionName=steady Nodes=ALL Default=YES MaxTime=UNLIMITED PreemptMode=OFF PriorityTier=1
PartitionName=requeued Nodes=ALL MaxTime=UNLIMITED PreemptMode=REQUEUE PriorityTier=1
PartitionName=cancelled Nodes=ALL MaxTime=UNLIMITED PreemptMode=CANCEL GraceTime=120 PriorityTier=1
PartitionName=killed Nodes=ALL MaxTime=UNLIMITED PreemptMode=CANCEL GraceTime=0 PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=UNLIMITED PreemptMode=OFF PriorityTier=10
END
  printf '%s\nName=gpu File=%s/gpu/[0-15]\n' "$MARK" "$folder" >"$ETC/gres.conf"
}

start_accounting() {
  local sql="CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'test'; GRANT ALL ON *.* TO slurm@'127.0.0.1'"
  mariadb-install-db --no-defaults --user=root --datadir="$folder/database" >"$folder/database.log" 2>&1 || true
  mariadbd --no-defaults --user=root --datadir="$folder/database" --socket="$folder/socket" \
    --pid-file="$folder/mariadbd.pid" --bind-address=127.0.0.1 --port="$PORT" \
    --innodb-lock-wait-timeout=900 >>"$folder/database.log" 2>&1 &
  for _ in $(seq 300); do
    mariadb --no-defaults --socket="$folder/socket" --execute "$sql" 2>/dev/null && break
    sleep 0.1
  done
  install -m 600 /dev/null "$ETC/slurmdbd.conf" # it refuses a file that others can read
  cat >"$ETC/slurmdbd.conf" <<END
$MARK
AuthType=auth/munge
DbdHost=localhost
SlurmUser=root
PidFile=$folder/slurmdbd.pid
LogFile=$folder/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$PORT
StorageUser=slurm
StoragePass=test
StorageLoc=accounting
END
  slurmdbd || true # says why in its log
  for _ in $(seq 300); do
    sacctmgr --immediate add cluster slimgen-test >/dev/null 2>&1 && return
    sleep 0.1
  done
  tail -n 20 "$folder/database.log" "$folder/slurmdbd.log"
  stop
  refuse "slurmdbd does not answer"
}

running() { # PIDFILE NAME: whether the daemon that wrote the file lives
  [ -s "$1" ] && [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ]
}

start() {
  check
  stop_old
  configure
  if [ ! -S /run/munge/munge.socket.2 ] || ! running /run/munge/munged.pid munged; then
    install -d -o munge -g munge -m 0755 /run/munge
    install -d -o munge -g munge -m 0700 /var/lib/munge /var/log/munge
    runuser -u munge -- munged
    touch "$folder/munged.ours"
  fi
  [ -z "$accounting" ] || start_accounting
  slurmctld -c
  slurmd -c
  for _ in $(seq 300); do
    [ "$(sinfo --noheader --partition steady --format %t 2>/dev/null)" = idle ] && return
    sleep 0.1
  done
  tail -n 20 "$folder"/slurm*.log
  stop
  refuse "the node did not become idle"
}

end() { # PIDFILE NAME
  if running "$1" "$2"; then
    local pid
    pid=$(cat "$1")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 50); do
      kill -0 "$pid" 2>/dev/null || return 0
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
  fi
}

stop() {
  local name pid
  if running "$folder/slurmctld.pid" slurmctld; then
    scancel --user root --signal KILL --full 2>/dev/null || true
    scancel --user root 2>/dev/null || true
    for _ in $(seq 40); do
      [ -z "$(squeue --noheader --states R,CG,PD 2>/dev/null)" ] && break
      sleep 0.25
    done
  fi
  end "$folder/slurmctld.pid" slurmctld
  end "$folder/slurmd.pid" slurmd
  end "$folder/slurmdbd.pid" slurmdbd
  end "$folder/mariadbd.pid" mariadbd
  # Steps outlive slurmd, and processes outlive steps. Ours carry the name of our cluster.
  [ ! -d "$folder/spool" ] || for pid in $(grep -lsz '^SLURM_CLUSTER_NAME=slimgen-test$' /proc/[0-9]*/environ | cut -d/ -f3); do
    kill -KILL "$pid" 2>/dev/null || true
  done
  if [ -e "$folder/munged.ours" ]; then
    end /run/munge/munged.pid munged
    rm -f "$folder/munged.ours"
  fi
  for name in "${FILES[@]}"; do
    if [ -e "$ETC/$name" ] && [ "$(head -n 1 "$ETC/$name")" = "$MARK" ]; then
      rm "$ETC/$name"
    fi
  done
}

stop_old() { # what a killed test left
  [ -e "$ETC/slurm.conf" ] || return 0
  local new=$folder
  folder=$(sed -n 's|^StateSaveLocation=\(.*\)/state$|\1|p' "$ETC/slurm.conf")
  stop
  folder=$new
}

case $command in
  check | start | stop) "$command" ;;
  *) refuse "check, start or stop, not $command" ;;
esac
