// Writes docs/errors.md from the table of errors. `--check` writes nothing and fails when the file is not what would be written.

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { ERRORS, type ErrorSpec } from '../mesh/errors.js'

const FILE = path.resolve('docs/errors.md')

/** Groups in the order of the page; a code belongs to the first group one of whose beginnings it has. */
const GROUPS: readonly { readonly title: string; readonly beginnings: readonly string[] }[] = [
  {
    title: 'Usage, configuration and state',
    beginnings: [
      'USAGE',
      'CONFIG_',
      'PASSPHRASE_',
      'DEV_ROOT',
      'PORT_BUSY',
      'SOCKET_PATH_',
      'STATE_',
      'COMMAND_',
      'DEMO_',
      'SIDECAR_',
    ],
  },
  { title: 'Names', beginnings: ['SPIFFE_ID_', 'AGENT_NAME_', 'TRUST_DOMAIN_'] },
  {
    title: 'Certificates: enrolment, issuance, renewal',
    beginnings: [
      'NOT_ENROLLED',
      'JOIN_TOKEN_',
      'CA_',
      'ADMIN_',
      'OPERATOR_',
      'CLOCK_SKEW',
      'CSR_',
      'ISSUE_',
      'CLONE_',
      'RENEW_',
      'AGENT_',
      'CERT_',
      'CRL_',
      'ENDPOINT_',
      'ROOT_KEY_',
      'PKCS11_',
      'BACKUP_',
      'RESTORE_',
    ],
  },
  { title: 'Judging a peer', beginnings: ['PEER_', 'SELF_', 'FEED_'] },
  {
    title: 'The local door',
    beginnings: ['LOCAL_', 'BROWSER_', 'NOT_A_MESH_HOST', 'CONNECT_REFUSED', 'CALLEE_', 'APP_'],
  },
  { title: 'Policy', beginnings: ['POLICY_'] },
  { title: 'The ledger', beginnings: ['AUDIT_', 'CALL_UNKNOWN', 'LEDGER_', 'COLLECTOR_'] },
  { title: 'Calls', beginnings: ['CALL_', 'DRAINING', 'HTTP1_', 'HTTP2_'] },
  { title: 'Messages', beginnings: ['WIRE_', 'NOT_FOUND', 'METHOD_NOT_ALLOWED'] },
  { title: 'Everything else', beginnings: [''] },
]

const EXIT: Readonly<Record<ErrorSpec['exit'], string>> = {
  1: 'failed',
  2: 'usage',
  3: 'configuration',
  4: 'denied',
  5: 'unreachable',
  70: 'bug',
}

/** The whole page. */
export function errorsPage(table: Readonly<Record<string, ErrorSpec>>): string {
  const codes = Object.entries(table)
  const groupOf = (code: string): number =>
    GROUPS.findIndex(({ beginnings }) => beginnings.some((beginning) => code.startsWith(beginning)))
  const sections = GROUPS.flatMap(({ title }, index) => {
    const members = codes.filter(([code]) => groupOf(code) === index)
    return members.length === 0 ? [] : [`## ${title}\n\n${members.map(entry).join('\n')}`]
  })
  return `${INTRODUCTION}\n${sections.join('\n')}`
}

const INTRODUCTION = `# Errors

<!-- Generated from mesh/errors.ts by \`npm run docs:errors\`; edits here are lost. -->

Every error has a code that never changes its meaning. HTTP doors answer errors as \`application/problem+json\` (RFC 9457) whose
\`type\` is \`https://troth.dev/errors#CODE\`; the command line prints \`error:\` and \`hint:\` and exits with the code's number. "Retry"
says that the same request may succeed later without anybody changing anything.
`

function entry([code, { status, exit, retryable, when, hint }]: readonly [string, ErrorSpec]): string {
  const facts = [`HTTP ${status}`, `exit ${exit} (${EXIT[exit]})`, ...(retryable ? ['retry'] : [])]
  return `### <a id="${code}"></a>${code}\n\n${sentence(when)} ${facts.join(', ')}.\n\nHint: ${escaped(hint)}\n`
}

const sentence = (when: string): string => `${escaped(when.charAt(0).toUpperCase() + when.slice(1))}.`

/** Markdown would take `<name>` for a tag, and stars and underscores for emphasis. */
const escaped = (text: string): string => text.replace(/[<>*_\\]/g, (character) => `\\${character}`)

/** @returns the exit code */
export function main(args: readonly string[]): number {
  const page = errorsPage(ERRORS)
  if (!args.includes('--check')) {
    writeFileSync(FILE, page)
    return 0
  }
  if (readFileSync(FILE, 'utf8') === page) return 0
  console.error('error: docs/errors.md is not what mesh/errors.ts says\nhint: npm run docs:errors')
  return 1
}

if (process.argv[1] !== undefined && path.basename(process.argv[1]) === 'generate.js')
  process.exitCode = main(process.argv.slice(2))
