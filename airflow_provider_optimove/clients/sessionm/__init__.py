"""SessionM: campaigns, opt-ins and the progress of customers."""
