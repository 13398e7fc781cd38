package ro

// BreakSessions ends the sessions with the machines as a lost link does: the
// operator hears of it when it speaks next.
func (r *RO) BreakSessions() {
	r.dpf.mu.Lock()
	defer r.dpf.mu.Unlock()
	for _, s := range r.dpf.sessions {
		_ = s.Close()
	}
}
