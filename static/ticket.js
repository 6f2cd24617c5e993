/* The ticket: a signed proof of who opened the page.
 *
 * It is kept in a variable, because browsers deny cookies and storage to a page in another site's frame.
 */

import * as portal from './bridge.js'
import { find, page, showInstead } from './page.js'

const MAX_AGE = 12 * 60 * 1000 // milliseconds; the server accepts a ticket for 15 minutes

let ticket = page.ticket
let issuedAt = Date.now()
let renewal = null
delete page.ticket

function keep(fresh) {
  if (fresh) [ticket, issuedAt] = [fresh, Date.now()]
}

/** Get a ticket for fresh tokens of the portal. Requests that need one at the same time share one renewal. */
function renew() {
  renewal ??= askForTicket().finally(() => { renewal = null })
  return renewal
}

async function askForTicket() {
  fillOpening(await portal.refreshAuth())
  const form = find('#opening')
  const answer = await fetch('/ticket/' + new URL(form.action).search, { method: 'POST', body: new FormData(form) })
  if (!answer.ok) throw new Error('no ticket')
  keep(answer.headers.get('X-Ticket'))
}

function fillOpening(tokens) {
  for (const name of ['AUTH_ID', 'REFRESH_ID', 'AUTH_EXPIRES']) find('#opening').elements[name].value = tokens[name]
}

/** Load the whole page again with fresh tokens. */
export async function reopen() {
  try {
    fillOpening(await portal.refreshAuth())
    find('#opening').submit()
  } catch {
    showInstead('gone')
  }
}

document.addEventListener('htmx:confirm', (event) => {
  if (!ticket || Date.now() - issuedAt < MAX_AGE) return
  event.preventDefault()
  // If the renewal fails, send the request anyway: the server answers 401, which is handled below.
  renew().catch(() => {}).then(() => event.detail.issueRequest(true))
})

document.addEventListener('htmx:configRequest', ({ detail }) => {
  if (ticket) detail.headers['X-Ticket'] = ticket
})

document.addEventListener('htmx:beforeOnLoad', (event) => {
  const { xhr, requestConfig } = event.detail
  keep(xhr.getResponseHeader('X-Ticket'))
  if (xhr.status !== 401) return
  event.preventDefault()
  if (requestConfig.headers['X-Replay']) showInstead('ended')
  else renew().then(() => replay(event.detail), () => showInstead('ended'))
})

function replay({ requestConfig, elt, target, etc }) {
  window.htmx.ajax(requestConfig.verb, requestConfig.path, {
    source: elt,
    target,
    swap: etc.swapOverride,
    values: requestConfig.formData,
    headers: { 'X-Replay': '1' },
  }).catch(() => {}) // reported by htmx:sendError
}
