#!/bin/sh
# One Apache Kafka broker on this machine, in KRaft mode, from the jars that Maven resolves. For tests and trials, never for customers.
#
#   scripts/kafka_local.sh start [PORT]   prints the broker's address when it answers (default port 9092)
#   scripts/kafka_local.sh stop [PORT]    stops it and removes its storage
#   scripts/kafka_local.sh kill [PORT]    kills it as a power cut would; its storage stays, and `start` goes on from there
#
# Needs Java 17, Maven and Python. Refuses a port in use. Jars are fetched once, into KAFKA_JARS (default: the user's cache folder).
set -eu

VERSION=3.9.1
SCALA=2.13
DO=${1:?start, stop or kill}
PORT=${2:-9092}
CONTROLLER=$((PORT + 1))
JARS=${KAFKA_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/frontdesk/kafka-$VERSION}
HOME_DIR=${TMPDIR:-/tmp}/frontdesk-kafka-$PORT

need() {
    command -v "$1" >/dev/null 2>&1 || { echo "$1 is missing: install $2" >&2; exit 2; }
}

fetch() {
    [ -f "$JARS/.complete" ] && return
    need mvn "Maven"
    echo "fetching Apache Kafka $VERSION through Maven, once" >&2
    mkdir -p "$JARS"
    cat > "$JARS/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-local</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_$SCALA</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$JARS/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$JARS/lib" >&2
    touch "$JARS/.complete"
}

java_run() {
    java -Xmx512m -cp "$JARS/lib/*" "$@"
}

settings() {
    mkdir -p "$HOME_DIR"
    cat > "$HOME_DIR/server.properties" <<SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$PORT,CONTROLLER://127.0.0.1:$CONTROLLER
advertised.listeners=PLAINTEXT://127.0.0.1:$PORT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$HOME_DIR/data
num.partitions=6
offsets.topic.replication.factor=1
offsets.topic.num.partitions=6
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=6
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=true
log.retention.hours=4
SETTINGS
}

listening() {
    python3 - "$PORT" <<'PYTHON'
import socket, sys
with socket.socket() as s:
    s.settimeout(1)
    sys.exit(s.connect_ex(("127.0.0.1", int(sys.argv[1]))) != 0)
PYTHON
}

alive() {
    [ -f "$HOME_DIR/pid" ] && kill -0 "$(cat "$HOME_DIR/pid")" 2>/dev/null
}

case $DO in
start)
    need java "a Java 17 runtime"
    if alive; then echo "127.0.0.1:$PORT"; exit 0; fi
    if listening; then echo "port $PORT is in use: stop what listens there, or name another port" >&2; exit 1; fi
    fetch
    settings
    if [ ! -f "$HOME_DIR/data/meta.properties" ]; then
        java_run kafka.tools.StorageTool format -t frontdeskLocalKafka00 -c "$HOME_DIR/server.properties" >&2
    fi
    java -Xmx512m -Xms256m -cp "$JARS/lib/*" kafka.Kafka "$HOME_DIR/server.properties" >"$HOME_DIR/log" 2>&1 &
    echo $! >"$HOME_DIR/pid"
    for _ in $(seq 60); do
        alive || { echo "the broker ended at once; its log:" >&2; tail -n 20 "$HOME_DIR/log" >&2; exit 1; }
        if listening; then echo "127.0.0.1:$PORT"; exit 0; fi
        sleep 1
    done
    echo "the broker did not answer within a minute; its log is $HOME_DIR/log" >&2
    exit 1
    ;;
stop)
    if alive; then
        kill "$(cat "$HOME_DIR/pid")"
        for _ in $(seq 30); do alive || break; sleep 1; done
        if alive; then kill -9 "$(cat "$HOME_DIR/pid")"; fi
    fi
    rm -rf "$HOME_DIR"
    ;;
kill)
    if alive; then kill -9 "$(cat "$HOME_DIR/pid")"; fi
    rm -f "$HOME_DIR/pid"
    ;;
*)
    echo "start, stop or kill" >&2
    exit 2
    ;;
esac
