// Caddy -> Caddy: one thread each, mutual TLS 1.3 between them and both verify, connections kept, no log (its default).

import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { freePorts, LOOPBACK, launchProgram } from '../../processes.js'
import { type Chain, stopAll, untilListening } from './chain.js'
import { APP_NAME } from './peer-certificates.js'
import { doorOf, type PeerPlace } from './peers.js'

const GLOBAL = '{\n  admin off\n  auto_https off\n  log {\n    level ERROR\n  }\n}\n'

export async function startCaddy({ dir, app, files }: PeerPlace): Promise<Chain> {
  const [egress = 0, ingress = 0] = await freePorts(2)
  const first = `http://${LOOPBACK}:${egress} {
  bind ${LOOPBACK}
  reverse_proxy https://${LOOPBACK}:${ingress} {
    flush_interval -1
    header_up Host ${APP_NAME}
    transport http {
      tls_client_auth ${files.caller.chain} ${files.caller.key}
      tls_trusted_ca_certs ${files.root}
      tls_server_name ${APP_NAME}
      keepalive 600s
      keepalive_idle_conns_per_host 512
    }
  }
}
`
  const second = `https://${APP_NAME}:${ingress} {
  bind ${LOOPBACK}
  tls ${files.app.chain} ${files.app.key} {
    protocols tls1.3
    client_auth {
      mode require_and_verify
      trusted_ca_cert_file ${files.root}
    }
  }
  @stranger not vars_regexp {tls_client_subject} CN=caller
  respond @stranger 403
  reverse_proxy ${LOOPBACK}:${app} {
    flush_interval -1
    header_up X-Peer {tls_client_subject}
    transport http {
      keepalive 600s
      keepalive_idle_conns_per_host 512
    }
  }
}
`
  const start = (side: string, rest: string) => {
    const own = path.join(dir, `caddy-${side}`)
    mkdirSync(own)
    const file = path.join(own, 'Caddyfile')
    writeFileSync(file, GLOBAL + rest)
    return launchProgram('caddy', ['run', '--config', file, '--adapter', 'caddyfile'], {
      name: `caddy (${side})`,
      env: { GOMAXPROCS: '1', HOME: own, XDG_DATA_HOME: own, XDG_CONFIG_HOME: own },
    })
  }
  const processes = [start('egress', first), start('ingress', second)] as const
  await untilListening(processes[0], egress)
  await untilListening(processes[1], ingress)
  return {
    name: 'caddy',
    host: LOOPBACK,
    port: egress,
    prefix: '',
    pids: processes.map(({ pid }) => pid),
    door: () => Promise.resolve(doorOf(files, ingress, processes[1].pid)),
    [Symbol.asyncDispose]: () => stopAll(processes),
  }
}
