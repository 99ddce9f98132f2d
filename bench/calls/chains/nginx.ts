// nginx -> nginx as a fair rival: one worker each, mutual TLS 1.3 between them and both verify, connections kept on both sides (which
// needs HTTP/1.1 and an empty `Connection` in the very location that sets a header), session reuse; the second decides by the peer's name.

import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { freePorts, LOOPBACK, launchProgram } from '../../processes.js'
import { type Chain, stopAll, untilListening } from './chain.js'
import { APP_NAME } from './peer-certificates.js'
import { doorOf, type PeerPlace } from './peers.js'

const KEPT = 'keepalive_timeout 600s; keepalive_requests 1000000000;'
const LOG = `log_format calls escape=json '{"time":"$time_iso8601","peer":"$ssl_client_s_dn","remote":"$remote_addr","request":"$request",'
    '"status":$status,"bytes":$body_bytes_sent,"duration":$request_time,"upstream":"$upstream_response_time"}';`

/** `grpc`: its module for gRPC instead of the one for HTTP/1.1. */
export type NginxKind = 'plain' | 'log' | 'grpc'

const NAMES: Readonly<Record<NginxKind, string>> = { plain: 'nginx', log: 'nginx+log', grpc: 'nginx-grpc' }

export async function startNginx(place: PeerPlace, kind: NginxKind): Promise<Chain> {
  const { dir, files } = place
  const [egress = 0, ingress = 0] = await freePorts(2)
  const start = (side: string, servers: string) => {
    const own = path.join(dir, `nginx-${kind}-${side}`)
    mkdirSync(own)
    writeFileSync(path.join(own, 'nginx.conf'), configOf(own, servers, kind))
    const args = ['-p', own, '-e', 'stderr', '-c', 'nginx.conf', '-g', 'daemon off;']
    return launchProgram('nginx', args, { name: `${NAMES[kind]} (${side})`, env: {} })
  }
  const processes = [
    start('egress', firstOf(place, kind, egress, ingress)),
    start('ingress', secondOf(place, kind, ingress)),
  ] as const
  await untilListening(processes[0], egress)
  await untilListening(processes[1], ingress)
  return {
    name: NAMES[kind],
    host: LOOPBACK,
    port: egress,
    prefix: '',
    pids: processes.map(({ pid }) => pid),
    door: () => Promise.resolve(doorOf(files, ingress, processes[1].pid)),
    [Symbol.asyncDispose]: () => stopAll(processes),
  }
}

function firstOf({ files }: PeerPlace, kind: NginxKind, egress: number, ingress: number): string {
  const tls = kind === 'grpc' ? 'grpc_ssl' : 'proxy_ssl'
  return `
  upstream peer { server ${LOOPBACK}:${ingress}; keepalive 512; ${KEPT} }
  server {
    listen ${LOOPBACK}:${egress} ${kind === 'grpc' ? 'http2' : ''} backlog=1024;
    ${tls}_certificate ${files.caller.chain}; ${tls}_certificate_key ${files.caller.key};
    ${tls}_trusted_certificate ${files.root}; ${tls}_verify on; ${tls}_verify_depth 2;
    ${tls}_name ${APP_NAME}; ${tls}_server_name on; ${tls}_protocols TLSv1.3; ${tls}_session_reuse on;
    ${kind === 'grpc' ? 'location / { grpc_pass grpcs://peer; }' : locations('https://peer', '')}
  }`
}

function secondOf({ app, files }: PeerPlace, kind: NginxKind, ingress: number): string {
  const decide = 'if ($allowed = 0) { return 403; }'
  const http1 = locations('http://app', `${decide} proxy_set_header X-Peer $ssl_client_s_dn;`)
  const grpc = `location / { ${decide} grpc_set_header X-Peer $ssl_client_s_dn; grpc_pass grpc://app; }`
  return `
  map $ssl_client_s_dn $allowed { default 0; "~CN=caller" 1; }
  upstream app { server ${LOOPBACK}:${app}; keepalive 512; ${KEPT} }
  server {
    listen ${LOOPBACK}:${ingress} ssl ${kind === 'grpc' ? 'http2' : ''} backlog=1024;
    ssl_certificate ${files.app.chain}; ssl_certificate_key ${files.app.key};
    ssl_client_certificate ${files.root}; ssl_verify_client on; ssl_verify_depth 2;
    ssl_protocols TLSv1.3; ssl_session_cache shared:tls:4m;
    ${kind === 'grpc' ? grpc : http1}
  }`
}

function configOf(own: string, servers: string, kind: NginxKind): string {
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  // the worker of a master that is root would not be, and then could not write below a private directory
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  return `${user} worker_processes 1; pid ${own}/nginx.pid; error_log stderr error;
events { worker_connections 4096; }
http {
  ${LOG}
  access_log ${kind === 'log' ? `${own}/access.log calls` : 'off'};
  client_max_body_size 0; ${KEPT}
  ${places.map((place) => `${place}_temp_path ${own}/${place};`).join(' ')}
  ${servers}
}
`
}

/** Calls, and the one place for WebSocket, which needs another `Connection`. */
function locations(to: string, rest: string): string {
  const forward = `${rest} proxy_pass ${to}; proxy_http_version 1.1; proxy_set_header Host $host;`
  return `location / { ${forward} proxy_set_header Connection ""; }
    location = /echo { ${forward} proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }`
}
