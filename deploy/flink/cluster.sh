#!/usr/bin/env bash
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

usage() {
  cat <<'END'
deploy/flink/cluster.sh start --directory DIR [FLAG...]
deploy/flink/cluster.sh run --directory DIR FLAG...
deploy/flink/cluster.sh status --directory DIR
deploy/flink/cluster.sh stop --directory DIR

Runs a Flink cluster on this machine. The job manager takes jobs and divides them among task managers. Each task manager
has a pool of Beam workers, which are the Python processes that do the work. `run` runs `python -m pipeline` on the
cluster and takes the flags of that command.

  --directory DIR         the cluster's own folder, with its configuration, logs and process ids
  --flink_home DIR        a distribution of Flink (default: the one that fetch.sh has put into build/flink)
  --job_server_jar JAR    Beam's job server (default: the one that fetch.sh has put into build/flink)
  --task_managers N       how many task managers there are (default: 2)
  --slots N               how many tasks each task manager runs at once, and how many workers its pool has (default: 1).
                          A job uses every slot unless `run` has a lower --parallelism. It survives the loss of a task
                          manager if the others have free slots
  --memory SIZE           the memory of the job manager and of each task manager; Beam's workers have theirs besides
                          (default: 1500m)
  --port N                the port of Flink's web page; 0 takes a free one (default: 8081)
  --worker_port N         the port of the pools of Beam workers, at 127.0.0.2, 127.0.0.3 and so on; 0 takes a free one
                          (default: 50000)
END
}

python=$checkout/.venv/bin/python
command=${1:-}
case $command in
  start | run | status | stop) shift ;;
  --help | -h) usage && exit ;;
  *) fail "${command:-no command}: expected start, run, status or stop (see --help)" ;;
esac

directory='' flink_home='' job_server_jar='' task_managers=2 slots=1 memory=1500m port=8081 worker_port=50000 others=()
while (($#)); do
  case ${1%%=*} in
    --help | -h) [[ $command == run ]] || { usage && exit; } ;;
    --directory) ;;
    --flink_home | --job_server_jar | --task_managers | --slots | --memory | --port | --worker_port)
      [[ $command == start ]] || fail "$1: expected with start, and not with $command" ;;
    *) [[ $command == run ]] || fail "unknown argument $1: see --help" ;;
  esac
  case ${1%%=*} in
    --directory | --flink_home | --job_server_jar | --task_managers | --slots | --memory | --port | --worker_port)
      [[ $1 == --*=* ]] && set -- "${1%%=*}" "${1#*=}" "${@:2}"
      check_value "$@"
      printf -v "${1#--}" %s "$2"
      shift 2 ;;
    *) others+=("$1") && shift ;;
  esac
done
[[ $directory ]] || fail "--directory is missing: expected the cluster's own folder"

# This script sets all Java flags that the cluster needs, so the machine's own settings are left out.
unset JAVA_TOOL_OPTIONS FLINK_CONF_DIR
export PYTHONPATH=$checkout # so that workers import the checkout's packages

# On Java 17, Flink needs access to these packages. The scripts that come with Flink set the same flags.
java_flags=(--add-exports=java.base/sun.net.util=ALL-UNNAMED --add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED)
for package in java.lang java.lang.invoke java.lang.reflect java.net java.io java.nio java.math java.text java.time \
  java.util java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch; do
  java_flags+=("--add-opens=java.base/$package=ALL-UNNAMED")
done

is_running() { # NAME: whether that process runs. Its start time tells it from a later process with the same id.
  local id started
  [[ -f $directory/processes/$1 ]] || return 1
  read -r id started <"$directory/processes/$1"
  [[ $(ps -o lstart= -p "$id" 2>/dev/null) == "$started" ]]
}

processes() { # prints the names of the processes that were started here
  local file
  for file in "$directory"/processes/*; do
    [[ ! -f $file ]] || echo "${file##*/}"
  done
}

launch() { # NAME COMMAND...: starts a process in the background, in a process group of its own, and notes its id
  local name=$1 id
  shift
  set -m
  "$@" </dev/null >>"$directory/log/$name.log" 2>&1 &
  id=$!
  set +m
  disown "$id"
  echo "$id $(ps -o lstart= -p "$id")" >"$directory/processes/$name"
}

launch_java() { # NAME CLASS: starts a part of Flink, with the memory flags that Flink derives from its configuration
  local name=$1 class=$2 kind=GET_JM_RESOURCE_PARAMS memory_flags settings hosts=()
  [[ $name == job_manager ]] || kind=GET_TM_RESOURCE_PARAMS
  [[ $name == job_manager ]] || hosts=("-Djdk.net.hosts.file=$directory/conf/hosts.${name##*_}")
  { read -ra memory_flags && read -ra settings; } < <(
    java -cp "$flink_home/bin/bash-java-utils.jar:$flink_home/lib/*" org.apache.flink.runtime.util.bash.BashJavaUtils \
      "$kind" --configDir "$directory/conf" 2>/dev/null | sed -n 's/^BASH_JAVA_UTILS_EXEC_RESULT://p'
  ) || fail "--memory $memory is too little: expected more, such as 1500m"
  launch "$name" java "${memory_flags[@]}" "${java_flags[@]}" "${hosts[@]}" \
    "-Dlog4j.configurationFile=$directory/conf/log4j.properties" -cp "$flink_home/lib/*:$job_server_jar" "$class" \
    --configDir "$directory/conf" "${settings[@]}"
}

overview() { # prints how many task managers the job manager knows
  "$python" - "$port" <<'PYTHON' 2>/dev/null
import json, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(json.load(opener.open(f"http://localhost:{sys.argv[1]}/overview", timeout=5))["taskmanagers"])
PYTHON
}

stop() {
  local name id deadline=$((SECONDS + 20))
  for name in $(processes); do # the job manager stops first, or it would start again what the others lose
    read -r id _ <"$directory/processes/$name"
    is_running "$name" && kill -- "-$id" 2>/dev/null || true
  done
  for name in $(processes); do
    read -r id _ <"$directory/processes/$name"
    while is_running "$name" && ((SECONDS < deadline)); do sleep 0.1; done
    kill -KILL -- "-$id" 2>/dev/null || true # Beam's workers may still run when their pool has ended
    rm "$directory/processes/$name"
  done
  rm -f "$directory/cluster"
}

start() {
  local name number free
  for name in task_managers slots; do
    [[ ${!name} =~ ^[1-9][0-9]?$ ]] || fail "--$name ${!name}: expected a number from 1 to 99"
  done
  for name in port worker_port; do
    [[ ${!name} =~ ^[0-9]{1,5}$ ]] && ((${!name} < 65536)) || fail "--$name ${!name}: expected a port, from 0 to 65535"
  done
  [[ $memory =~ ^[0-9]+[mg]$ ]] || fail "--memory $memory: expected such as 2g or 1500m"
  if [[ -z $flink_home ]]; then
    flink_home=$(compgen -G "$checkout/build/flink/flink-*/lib/flink-dist-*.jar" | sort -V | tail -1) ||
      fail "--flink_home is missing, and build/flink has no Flink: run deploy/flink/fetch.sh"
    flink_home=${flink_home%/lib/*}
  fi
  compgen -G "$flink_home/lib/flink-dist*.jar" >/dev/null ||
    fail "--flink_home $flink_home has no lib/flink-dist-...jar: expected a distribution of Flink"
  [[ $job_server_jar ]] || job_server_jar=$(compgen -G "$checkout/build/flink/job-server-*.jar" | sort -V | tail -1) ||
    fail "--job_server_jar is missing, and build/flink has no job server: run deploy/flink/fetch.sh"
  [[ -f $job_server_jar ]] || fail "--job_server_jar $job_server_jar is no file: expected Beam's job server"
  [[ -x $python ]] || fail "$checkout/.venv is missing: make it with deploy/local/setup_venv.sh pipeline"
  # Flink takes each of these for the end of a folder's name.
  [[ ! $(realpath -m -- "$directory") =~ [,:|[:cntrl:]] ]] || fail "--directory $directory: expected a name without , : | and line breaks"
  failure=1
  command -v java >/dev/null || fail "java is not on the PATH: expected Java 11 or 17"
  mkdir -p "$directory"/{conf,log,processes,artifacts,tmp}
  directory=$(cd "$directory" && pwd)
  for name in $(processes); do
    ! is_running "$name" || fail "--directory $directory has a running cluster: stop it, or name another folder"
    rm "$directory/processes/$name"
  done
  rm -f "$directory"/log/*

  free=$("$python" - "$port" "$worker_port" "$task_managers" 2>&1 <<'PYTHON'
import socket, sys
port, worker_port, task_managers = map(int, sys.argv[1:])
taken = []
def bind(host, port, flag):
    taken.append(socket.socket())
    taken[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken[-1].bind((host, port))
    except OSError as error:
        sys.exit(f"{flag} {port} is not free at {host}: {error.strerror}; expected another port, or 0 for a free one")
    return taken[-1].getsockname()[1]
rpc = bind("127.0.0.1", 0, "")
port = bind("127.0.0.1", port, "--port")
for number in range(task_managers):
    worker_port = bind(f"127.0.0.{number + 2}", worker_port, "--worker_port")
print(rpc, port, worker_port)
PYTHON
  ) || fail "$free"
  read -r rpc_port port worker_port <<<"$free"

  # - network and sort-shuffle: the buffers are small because this pipeline sends very little between its workers.
  # - restart-strategy: Flink runs again what is lost with a task manager or a worker, if slots are free. The delay
  #   gives old workers time to end: TensorFlow Transform caches stale state in them.
  # - parent-first: Flink takes Beam's classes from the cluster and not from each job. Only then does Beam keep its
  #   workers from one stage of a job to the next.
  cat >"$directory/conf/config.yaml" <<END
jobmanager.rpc.address: localhost
jobmanager.rpc.port: $rpc_port
jobmanager.bind-host: localhost
jobmanager.memory.process.size: $memory
taskmanager.host: localhost
taskmanager.bind-host: localhost
taskmanager.numberOfTaskSlots: $slots
taskmanager.memory.process.size: $memory
taskmanager.memory.managed.fraction: 0.2
taskmanager.memory.network.min: 128m
taskmanager.network.sort-shuffle.min-buffers: 64
rest.address: localhost
rest.bind-address: localhost
rest.port: $port
rest.bind-port: $port
parallelism.default: $((task_managers * slots))
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 3
restart-strategy.fixed-delay.delay: 15 s
heartbeat.interval: 2000
heartbeat.timeout: 20000
slot.request.timeout: 30000
cluster.evenly-spread-out-slots: true
io.tmp.dirs: '${directory//\'/\'\'}/tmp'
classloader.resolve-order: parent-first
END
  cat >"$directory/conf/log4j.properties" <<'END'
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
END
  cat >"$directory/cluster" <<END
$port $worker_port $task_managers $slots $job_server_jar
END

  trap stop EXIT # when the start fails
  launch_java job_manager org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint
  for ((number = 1; number <= task_managers; number++)); do
    # The job names one host for all pools, worker-pool. Each task manager has a hosts file that leads to its own pool.
    printf '127.0.0.1 localhost %s\n127.0.0.%d worker-pool\n' "$(hostname)" $((number + 1)) \
      >"$directory/conf/hosts.$number"
    # The pool starts its workers as `python`, so the checkout's Python must come first on the PATH.
    launch "worker_pool_$number" env PATH="$checkout/.venv/bin:$PATH" TF_CPP_MIN_LOG_LEVEL=3 \
      "$python" "$checkout/deploy/flink/worker_pool.py" --address "127.0.0.$((number + 1)):$worker_port"
    launch_java "task_manager_$number" org.apache.flink.runtime.taskexecutor.TaskManagerRunner
  done

  local deadline=$((SECONDS + 120))
  is_ready() {
    [[ $(overview) == "$task_managers" ]] || return 1
    for ((number = 1; number <= task_managers; number++)); do
      grep -qs listening "$directory/log/worker_pool_$number.log" || return 1
    done
  }
  until is_ready; do
    for name in $(processes); do
      is_running "$name" || fail "$name has ended: $directory/log/$name.log says why"
    done
    ((SECONDS < deadline)) || fail "the cluster is not ready after 120 s: the logs in $directory/log say why"
    sleep 0.3
  done
  trap - EXIT
  cat <<END
flink       http://localhost:$port, $task_managers task managers with $slots slots each
Next:
  deploy/flink/cluster.sh run --directory $(printf %q "$directory") --input '/path/*.txt' --output /path/to/DATASET
END
}

read_cluster() {
  [[ -f $directory/cluster ]] ||
    fail "--directory $directory holds no cluster: expected a folder that \`cluster.sh start\` has made"
  directory=$(cd "$directory" && pwd)
  read -r port worker_port task_managers slots job_server_jar <"$directory/cluster"
}

case $command in
  start) start ;;
  stop) read_cluster && stop ;;
  status)
    read_cluster
    for name in $(processes); do
      is_running "$name" && state=runs || state=ended
      read -r id _ <"$directory/processes/$name"
      printf '%-20s%s (%s)\n' "$name" "$state" "$id"
    done
    known=$(overview) || { echo "the job manager does not answer" && exit 1; }
    echo "the job manager at http://localhost:$port knows $known of $task_managers task managers"
    [[ $known == "$task_managers" ]]
    ;;
  run)
    read_cluster
    exec "$python" -P -m pipeline --runner=FlinkRunner "--flink_master=localhost:$port" \
      "--flink_job_server_jar=$job_server_jar" "--artifacts_dir=$directory/artifacts" \
      --job_server_jvm_properties=-Xmx512m --environment_type=EXTERNAL \
      "--environment_config=worker-pool:$worker_port" --environment_cache_millis=5000 \
      "--sdk_worker_parallelism=$slots" "--parallelism=$((task_managers * slots))" "${others[@]}"
    ;;
esac
