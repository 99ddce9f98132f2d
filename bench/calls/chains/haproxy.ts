// HAProxy -> HAProxy: one thread each, mutual TLS 1.3 between them and both verify. With HTTP/2 between the two it multiplexes as we do
// and is the honest rival; with HTTP/1.1 it is how most set it up. Its log goes to a file, which costs it less than a log daemon would.

import { openSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { freePorts, LOOPBACK, launchProgram } from '../../processes.js'
import { type Chain, stopAll, untilListening } from './chain.js'
import { APP_NAME } from './peer-certificates.js'
import { doorOf, type PeerPlace } from './peers.js'

export interface HaproxyKind {
  readonly between: 'h2' | 'h1'
  readonly log: 'log' | 'no log'
  /** What the app is spoken to: gRPC needs HTTP/2. */
  readonly app: 'http/1.1' | 'h2c'
}

export async function startHaproxy({ dir, app, files }: PeerPlace, kind: HaproxyKind): Promise<Chain> {
  const [egress = 0, ingress = 0] = await freePorts(2)
  const name =
    kind.app === 'h2c' ? 'haproxy-grpc' : `haproxy-${kind.between}${kind.log === 'log' ? '+log' : ''}`
  const alpn = kind.between === 'h2' ? 'alpn h2' : 'alpn http/1.1'
  const tls = `ca-file ${files.root} verify required ssl-min-ver TLSv1.3 ${alpn}`
  const first = `
frontend egress
  bind ${LOOPBACK}:${egress} backlog 1024
  default_backend peer
backend peer
  server peer ${LOOPBACK}:${ingress} ssl crt ${files.caller.pair} ${tls} sni str(${APP_NAME}) verifyhost ${APP_NAME}
`
  const second = `
frontend ingress
  bind ${LOOPBACK}:${ingress} backlog 1024 ssl crt ${files.app.pair} ${tls}
  http-request deny unless { ssl_c_s_dn(cn) -m str caller }
  http-request set-header X-Peer %[ssl_c_s_dn]
  default_backend app
backend app
  server app ${LOOPBACK}:${app}${kind.app === 'h2c' ? ' proto h2' : ''}
`
  const start = (side: string, rest: string) => {
    const file = path.join(dir, `${name}-${side}.cfg`)
    writeFileSync(file, configOf(rest, kind.log))
    const stdout = openSync(path.join(dir, `${name}-${side}.log`), 'w')
    return launchProgram('haproxy', ['-db', '-f', file], { name: `${name} (${side})`, env: {}, stdout })
  }
  const processes = [start('egress', first), start('ingress', second)] as const
  await untilListening(processes[0], egress)
  await untilListening(processes[1], ingress)
  return {
    name,
    host: LOOPBACK,
    port: egress,
    prefix: '',
    pids: processes.map(({ pid }) => pid),
    door: () => Promise.resolve(doorOf(files, ingress, processes[1].pid)),
    [Symbol.asyncDispose]: () => stopAll(processes),
  }
}

const configOf = (rest: string, log: 'log' | 'no log'): string => `
global
  nbthread 1
  maxconn 4096
  ${log === 'log' ? 'log stdout format raw local0' : ''}
defaults
  mode http
  ${log === 'log' ? 'log global\n  option httplog' : ''}
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  timeout tunnel 600s
${rest}`
