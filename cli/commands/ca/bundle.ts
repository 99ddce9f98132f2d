// troth ca bundle: the roots that this mesh trusts, for verifiers outside: as PEM, or as the SPIFFE bundle that /v1/bundle serves.

import { Command, Option } from 'commander'
import { formatPem } from '../../../mesh/pem.js'
import { adminClient } from '../../admin-client.js'
import { type DefineCommand, withExamples } from '../../command.js'
import type { Session } from '../../session.js'

interface Options {
  readonly format: 'pem' | 'spiffe'
}

export const bundleCommand: DefineCommand = (context) =>
  withExamples(
    new Command('bundle')
      .description('the trust bundle: the roots, as PEM or as a SPIFFE bundle (JWK set)')
      .addOption(new Option('--format <format>', 'what to print').choices(['pem', 'spiffe']).default('pem'))
      .action((options: Options) => bundle(context.session(), options)),
    context,
    'ca bundle > roots.pem',
    'ca bundle --format spiffe',
  )

async function bundle(session: Session, { format }: Options): Promise<void> {
  const { out, json } = session
  const found = await adminClient(session).bundle()
  if (json || format === 'spiffe') {
    out.json(found)
    return
  }
  for (const { x5c } of found.keys) {
    const pem = formatPem('CERTIFICATE', Buffer.from(x5c[0] ?? '', 'base64'))
    for (const line of pem.trimEnd().split('\n')) out.line(line)
  }
}
